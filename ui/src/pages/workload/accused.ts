// Which alerts and findings are about one machine or one container.

import type { Problem } from '../home/problems';

export interface Subject {
  instance: string;
  /** Of a container. */
  cgroup?: string;
  /** Names and ids by which rules and detections call the container. */
  names?: readonly string[];
}

const ofContainer = ['container_id', 'container.id', 'container', 'container_name', 'name'];
const ofHost = ['instance', 'host', 'host.name', 'node'];

/** Those that name it. What names a container is told of the container, and of its machine too. */
export function accused(problems: readonly Problem[], subject: Subject): Problem[] {
  const names = new Set((subject.names ?? []).filter(Boolean).flatMap((n) => [n, n.slice(0, 12)]));
  return problems.filter(({ labels, kind }) => {
    if (kind === 'part') return false;
    const hosts = ofHost.map((label) => labels[label]).filter((value) => value !== undefined);
    const here = hosts.length === 0 || hosts.includes(subject.instance);
    if (subject.cgroup === undefined) return here && hosts.length > 0;
    if (labels['id'] !== undefined) return here && labels['id'] === subject.cgroup;
    return here && ofContainer.some((label) => names.has(labels[label] ?? ''));
  });
}
