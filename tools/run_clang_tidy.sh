#!/bin/bash
# run_clang_tidy.sh BUILD_FOLDER SINCE: clang-tidy, with .clang-tidy's checks, on the sources in src/
# and cli/ that changed since the commit SINCE, or on all of them if SINCE is "all" or unknown.
set -euo pipefail

build=$1
since=$2
changed() {
  if [[ $since != all ]] && git rev-parse --quiet --verify "$since^{commit}" >/dev/null; then
    git diff --name-only --diff-filter=d "$since" -- 'src/*.cc' 'cli/*.cc'
  else
    git ls-files 'src/*.cc' 'cli/*.cc'
  fi
}
# A source that the build leaves out (a target that is switched off) has no compile command.
compiled() {
  while read -r file; do
    if grep --quiet --fixed-strings "/$file\"" "$build/compile_commands.json"; then echo "$file"; fi
  done
}
changed | compiled | xargs --no-run-if-empty --max-procs="$(nproc)" --max-args=1 \
  clang-tidy --quiet --extra-arg=-Wno-unknown-warning-option -p "$build"
