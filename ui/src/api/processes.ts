// Processes of a cgroup as cAdvisor lists them.

import { get } from './client';

export interface Process {
  user: string;
  pid: number;
  parent_pid: number;
  start_time: string;
  percent_cpu: number;
  percent_mem: number;
  rss: number;
  virtual_size: number;
  status: string;
  running_time: string;
  cgroup_path: string;
  cmd: string;
  fd_count: number;
}

/** All processes of the machine where the path is `/`. */
export function processes(cgroup: string, signal?: AbortSignal): Promise<Process[]> {
  return get(`/api/v2.1/ps${cgroup.split('/').map(encodeURIComponent).join('/')}`, signal);
}
