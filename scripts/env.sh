# Sourced by the other scripts, and by whoever wants their environment in a shell: `. scripts/env.sh`.
# Puts .venv and the Go that scripts/setup settled on first in PATH. Go builds from what is here and nothing
# else: no module proxy, no other toolchain, no C compiler, and its cache stays in build/.

GAPLESS_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export GAPLESS_ROOT

export CGO_ENABLED=0
export GOCACHE="$GAPLESS_ROOT/build/go-cache"
# buildvcs: git refuses a checkout that another user owns. trimpath: as releases are built, so that Go compiles its
# library once for them and for all else.
export GOFLAGS="-mod=mod -buildvcs=false -trimpath"
export GOPATH="$GAPLESS_ROOT/build/gopath"
export GOPROXY=off
export GOTOOLCHAIN=local
export GOWORK=off

# The Go folders of the repository, those that are there.
go_folders() {
  local folder
  for folder in benchmarks/load examples/go-server; do
    if [ -e "$GAPLESS_ROOT/$folder/go.mod" ]; then echo "$folder"; fi
  done
}

if [ -x "$GAPLESS_ROOT/.venv/bin/python" ] && [[ ":$PATH:" != *":$GAPLESS_ROOT/.venv/bin:"* ]]; then
  PATH="$GAPLESS_ROOT/.venv/bin:$PATH"
fi
if [ -r "$GAPLESS_ROOT/.venv/.goroot" ]; then
  GOROOT=$(<"$GAPLESS_ROOT/.venv/.goroot")
  export GOROOT
  if [[ ":$PATH:" != *":$GOROOT/bin:"* ]]; then PATH="$GOROOT/bin:$PATH"; fi
fi
export PATH
