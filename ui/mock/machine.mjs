// What the pages of the machine and of containers look at beyond what Home does.

const GiB = 1024 ** 3;

export function addMachine({ add, counter, wave, host, started }) {
  add('node_boot_time_seconds', host, () => started / 1000 - 12.4 * 86_400);
  add(
    'node_uname_info',
    { ...host, release: '6.12.9', sysname: 'Linux', nodename: host.instance, machine: 'x86_64' },
    () => 1,
  );
  add('node_os_info', { ...host, pretty_name: 'Debian GNU/Linux 13 (trixie)' }, () => 1);
  add('node_dmi_info', { ...host, system_vendor: 'Example', product_name: 'Server 2' }, () => 1);
  add('node_memory_MemFree_bytes', host, (t) => 33_567_895_552 * (0.2 - 0.06 * wave(5, t, 300)));
  add('node_memory_Buffers_bytes', host, () => 0.4 * GiB);
  add('node_memory_Cached_bytes', host, (t) => 33_567_895_552 * (0.21 - 0.05 * wave(5, t, 300)));
  add('node_memory_SReclaimable_bytes', host, () => 0.7 * GiB);
  add('node_memory_SwapTotal_bytes', host, () => 4 * GiB);
  add('node_memory_SwapFree_bytes', host, () => 3.9 * GiB);
  add('node_procs_running', host, (t) => 1 + Math.round(6 * wave(1, t, 20)));
  add('node_procs_blocked', host, (t) => Math.round(1.2 * wave(3, t, 20)));
  counter(
    'node_pressure_memory_stalled_seconds_total',
    host,
    (t) => 0.004 * Math.max(0, wave(7, t, 80) - 0.5),
  );
  counter('node_pressure_io_stalled_seconds_total', host, (t) => 0.03 * Math.max(0, wave(3, t, 90) - 0.4));

  for (const [device, mountpoint, files, free, hours] of [
    ['/dev/nvme0n1p2', '/', 15e6, 13.9e6, Infinity],
    ['/dev/nvme1n1', '/var/lib/containerd', 32e6, 21e6, 19.2],
    ['/dev/nvme0n1p1', '/boot', 65e3, 64e3, Infinity],
  ]) {
    const labels = { ...host, device, mountpoint, fstype: 'ext4' };
    add('node_filesystem_files', labels, () => files);
    add('node_filesystem_files_free', labels, () => free);
    add('node_filesystem_readonly', labels, () => (mountpoint === '/boot' ? 1 : 0));
    add('node_filesystem_until_full_hours', labels, () => hours);
  }
  for (const [device, seed] of [
    ['nvme0n1', 8],
    ['nvme1n1', 9],
  ]) {
    const labels = { ...host, device };
    const ops = (t) => 40 + 300 * wave(seed, t, 40);
    counter('node_disk_reads_completed_total', labels, (t) => ops(t) * 0.3);
    counter('node_disk_writes_completed_total', labels, (t) => ops(t) * 0.7);
    counter('node_disk_read_time_seconds_total', labels, (t) => ops(t) * 0.3 * 0.0002);
    counter('node_disk_write_time_seconds_total', labels, (t) => ops(t) * 0.7 * 0.0011);
    counter('node_disk_io_time_seconds_total', labels, (t) => 0.02 + 0.3 * wave(seed, t, 40) ** 2);
  }
  for (const [device, up, speed] of [
    ['eth0', 1, 1.25e9],
    ['lo', 0, -1],
    ['cni0', 1, -1],
  ]) {
    const labels = { ...host, device };
    add('node_network_up', labels, () => up);
    add('node_network_speed_bytes', labels, () => speed);
    for (const way of ['receive', 'transmit']) {
      counter(`node_network_${way}_errs_total`, labels, () => 0);
      counter(`node_network_${way}_drop_total`, labels, () =>
        device === 'eth0' && way === 'receive' ? 0.4 : 0,
      );
    }
  }
  counter('node_network_receive_bytes_total', { ...host, device: 'cni0' }, (t) => 8e5 * wave(14, t, 30));
  counter('node_network_transmit_bytes_total', { ...host, device: 'cni0' }, (t) => 6e5 * wave(15, t, 30));

  add('node_hwmon_chip_names', { ...host, chip: 'platform_coretemp_0', chip_name: 'coretemp' }, () => 1);
  for (const [sensor, label, base] of [
    ['temp1', 'Package', 54],
    ['temp2', 'Core 0', 51],
    ['temp3', 'Core 1', 49],
  ]) {
    const labels = { ...host, chip: 'platform_coretemp_0', sensor };
    add('node_hwmon_sensor_label', { ...labels, label }, () => 1);
    add('node_hwmon_temp_celsius', labels, (t) => base + 18 * wave(1, t, 140));
  }
  const group = { ...host, vg: 'data' };
  add('node_lvm_volume_group_size_bytes', group, () => 1800 * GiB);
  add('node_lvm_volume_group_free_bytes', group, () => 212 * GiB);
  add('node_lvm_volume_group_physical_volumes_missing', group, () => 0);
  add('node_lvm_volume_group_until_full_hours', group, () => Infinity);
  const pool = { ...host, device: 'dm-3', vg: 'data', lv: 'pool' };
  add('node_lvm_thin_pool_data_percent', pool, () => 87.4);
  add('node_lvm_thin_pool_metadata_percent', pool, () => 41.2);
  add('node_lvm_thin_pool_needs_check', pool, () => 0);
  add('node_lvm_thin_pool_until_full_hours', { ...pool, part: 'data' }, () => 63);
  add('node_lvm_thin_pool_state', { ...pool, state: 'rw' }, () => 1);
  add('node_md_disks_required', { ...host, device: 'md0' }, () => 2);
  for (const [state, count] of [
    ['active', 1],
    ['failed', 1],
    ['spare', 0],
  ])
    add('node_md_disks', { ...host, device: 'md0', state }, () => count);
  add('node_md_state', { ...host, device: 'md0', state: 'active' }, () => 1);
  add('node_md_blocks', { ...host, device: 'md0' }, () => 4_192_256);
  add('node_md_blocks_synced', { ...host, device: 'md0' }, () => 4_192_256);
  for (const [device, wear] of [
    ['nvme0', 4],
    ['nvme1', 31],
  ]) {
    add('node_nvme_wear_percent', { ...host, device }, () => wear);
    add('node_nvme_available_spare_percent', { ...host, device }, () => 100);
    add('node_nvme_available_spare_threshold_percent', { ...host, device }, () => 10);
    add('node_nvme_critical_warning', { ...host, device }, () => 0);
    add('node_nvme_media_errors_total', { ...host, device }, () => 0);
  }
}

/** A second machine, scraped from an exporter: fewer figures, and Home leaves it out. */
export function addOther({ add, counter, wave, started }) {
  const host = { job: 'node', instance: 'basalt.example:9100' };
  const busy = (t) => 0.1 + 0.2 * wave(31, t, 90);
  for (const [mode, of] of [
    ['user', (t) => busy(t) * 0.8],
    ['system', (t) => busy(t) * 0.2],
    ['idle', (t) => 1 - busy(t)],
  ])
    counter('node_cpu_seconds_total', { ...host, cpu: '0', mode }, of);
  add('node_load1', host, (t) => 0.3 + wave(31, t, 90));
  add('node_memory_MemTotal_bytes', host, () => 8 * GiB);
  add('node_memory_MemAvailable_bytes', host, (t) => 5 * GiB + GiB * wave(32, t, 200));
  add('node_boot_time_seconds', host, () => started / 1000 - 86_400 * 3.2);
  const root = { ...host, device: '/dev/vda1', mountpoint: '/', fstype: 'xfs' };
  add('node_filesystem_size_bytes', root, () => 40 * GiB);
  add('node_filesystem_avail_bytes', root, () => 31 * GiB);
}

export function addContainer({ add, counter, wave, memory }, c, labels) {
  const level = (t) => 0.45 + 1.1 * wave(c.seed, t, 45);
  add('container_info', { ...labels, runtime: 'containerd' }, () => 1);
  counter('container_cpu_user_seconds_total', labels, (t) => c.cpu * 0.7 * level(t));
  counter('container_cpu_system_seconds_total', labels, (t) => c.cpu * 0.3 * level(t));
  if (c.limit > 0) {
    const quota = Math.max(0.1, Math.ceil(c.cpu * 14) / 10);
    add('container_spec_cpu_quota', labels, () => quota * 100_000);
    add('container_spec_cpu_period', labels, () => 100_000);
    counter('container_cpu_cfs_periods_total', labels, () => 10);
    counter('container_cpu_cfs_throttled_periods_total', labels, (t) => 10 * Math.max(0, level(t) - 1.2));
  }
  add('container_memory_rss', labels, (t) => memory(t) * 0.8);
  add('container_memory_cache', labels, (t) => memory(t) * 0.4);
  add('container_memory_swap', labels, () => 0);
  add('container_memory_max_usage_bytes', labels, () => c.memory * 1.2);
  add('container_threads', labels, () => 4 + Math.round(c.cpu * 40));
  add('container_threads_max', labels, () => 4915);
  add('container_last_seen', labels, (t) => t);
  for (const [what, most] of [
    ['cpu', 0.2],
    ['memory', 0.02],
    ['io', 0.08],
  ])
    for (const [how, part] of [
      ['waiting', 1],
      ['stalled', 0.3],
    ])
      counter(
        `container_pressure_${what}_${how}_seconds_total`,
        labels,
        (t) => most * part * wave(c.seed, t, 60) ** 3,
      );
  const disk = { ...labels, device: '/dev/nvme1n1' };
  counter('container_fs_reads_bytes_total', disk, (t) => c.cpu * 2e5 * wave(c.seed + 7, t, 60));
  counter('container_fs_writes_bytes_total', disk, (t) => c.cpu * 9e5 * wave(c.seed + 8, t, 60));
  counter('container_fs_reads_total', disk, (t) => c.cpu * 10 * wave(c.seed + 7, t, 60));
  counter('container_fs_writes_total', disk, (t) => c.cpu * 60 * wave(c.seed + 8, t, 60));
  add('container_fs_usage_bytes', disk, (t) => c.memory * (0.3 + ((t / 60) % 60) / 600));
  add('container_fs_usage_age_seconds', labels, (t) => t % 60);
  add('container_cpu_load_average_10s', labels, (t) => 1000 * c.cpu * level(t));
  for (const window of ['1m', '5m'])
    for (const [state, part] of [
      ['running', 1],
      ['blocked', 0.1],
    ])
      add(
        'container_load_average',
        { ...labels, window, state },
        (t) => c.cpu * part * (0.8 + 0.4 * wave(c.seed, t, 200)),
      );
  for (const [state, count] of [
    ['running', Math.ceil(c.cpu)],
    ['sleeping', 3],
    ['uninterruptible', 0],
  ])
    add('container_tasks_state', { ...labels, state }, () => count);
}

/** What cAdvisor's `ps` would tell of a cgroup; of the whole machine where it is the root. */
export function processesOf(containers, cgroup) {
  const found = cgroup === '/' ? containers : containers.filter((c) => c.cgroup === cgroup);
  if (found.length === 0) return null;
  const process = (c, n, cmd, share) => ({
    user: 'root',
    pid: 3000 + c.seed * 20 + n,
    parent_pid: n === 0 ? 2200 + c.seed : 3000 + c.seed * 20,
    start_time: new Date(c.start * 1000).toISOString(),
    percent_cpu: c.cpu * 100 * share,
    percent_mem: (c.memory * share * 100) / 33_567_895_552,
    rss: c.memory * share,
    virtual_size: c.memory * 4,
    status: 'Ss',
    running_time: '00:12:07',
    cgroup_path: c.cgroup,
    cmd,
    fd_count: 20 + n,
    psr: 1,
  });
  return found.flatMap((c) => [
    process(c, 0, `/usr/local/bin/${c.name} --config /etc/${c.name}.yaml`, 0.85),
    process(c, 1, 'sh -c "while sleep 10; do /healthz; done"', 0.15),
  ]);
}
