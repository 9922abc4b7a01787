#!/bin/busybox sh
# The first program of the virtual machine. It makes a root of its own below which containers can
# be made: the kernel's first root cannot be exchanged for another, a mount over it can.
if [ "$1" != again ]; then
    /bin/busybox mkdir -p /new
    /bin/busybox mount -o bind / /new
    cd /new || exit 1
    /bin/busybox mount -o move . /
    exec /bin/busybox chroot . /init again
fi
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
/bin/busybox mkdir -p /bin /sbin /usr/bin /usr/sbin /proc /sys /dev /run /tmp /etc /mnt /var/lib
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec > /dev/console 2>&1
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
while read -r module; do
    insmod "/modules/$module" || echo "no module $module"
done < /modules/order
hostname guest
echo 127.0.0.1 localhost > /etc/hosts
echo root:x:0:0:root:/root:/bin/sh > /etc/passwd
ifconfig lo 127.0.0.1 up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
echo "virtual machine: up"
exec httpd -f -p 80 -h /www
