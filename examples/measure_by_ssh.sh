#!/bin/sh
# Measures exported students on another machine:
#
#     rayduce sweep digits --measure 'examples/measure_by_ssh.sh pi@raspberrypi {onnx}' --device pi
#
# Once before: scp examples/measure_here.py pi@raspberrypi: and pip install onnxruntime there.
# Only the JSON may go to standard output; what else is said goes to standard error, and is told where it fails.
set -eu
host=$1
shift
folder=$(ssh -o BatchMode=yes "$host" mktemp -d)
trap 'ssh -o BatchMode=yes "$host" rm -r "$folder"' EXIT
scp -q -o BatchMode=yes "$@" "$host:$folder/"
# The device ends it by itself: when the time of --measure-timeout is over, only this script is killed.
ssh -o BatchMode=yes "$host" "timeout 100 python3 measure_here.py $folder/*.onnx"
