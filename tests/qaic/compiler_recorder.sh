#!/bin/sh
# Stands in for the SDK's compiler: writes its arguments to $RECORDER_ARGUMENTS, one a line, and
# then does what $RECORDER_BEHAVIOUR says. Like the compiler it makes the program's folder itself.
set -eu
printf '%s\n' "$@" > "$RECORDER_ARGUMENTS"
for argument; do
  case $argument in -aic-binary-dir=*) program=${argument#*=} ;; esac
done
case ${RECORDER_BEHAVIOUR:-compile} in
  compile)
    mkdir "$program"
    echo compiled > "$program/programqpc.bin"
    ;;
  refuse)
    mkdir "$program"
    echo half > "$program/programqpc.bin"
    echo "reading the graph"
    printf '\nUnhandled ElemKind in Clip operation\n  node /model/layers.0/mlp/Clip\n' >&2
    exit 3
    ;;
  refuse-on-stdout)
    echo "no space for the program"
    exit 1
    ;;
  die)
    mkdir "$program"
    echo half > "$program/programqpc.bin"
    kill -KILL $$
    ;;
  make-nothing) ;;
  make-empty)
    mkdir "$program"
    : > "$program/programqpc.bin"
    ;;
  lose-the-race) # another process publishes first
    mkdir "$program" "$RECORDER_RIVAL"
    echo mine > "$program/programqpc.bin"
    echo rival > "$RECORDER_RIVAL/programqpc.bin"
    ;;
esac
