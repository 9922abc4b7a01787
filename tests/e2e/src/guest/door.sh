#!/bin/sh
# Runs the script that was posted, and tells how it ended.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/
script=/tmp/script.$$
head -c "$CONTENT_LENGTH" > "$script"
printf 'Content-Type: text/plain\r\n\r\n'
sh "$script" < /dev/null 2>&1
echo "status $?"
rm -f "$script"
