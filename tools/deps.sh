#!/bin/sh
# deps.sh GROUP... -- installs what is missing from Debian's packages, and says what it installs.
# Groups: build run agent test bench fuzz tidy. As root or with sudo. Nothing else is ever installed.
# "package:program": the package is not needed where that program is there already, whoever brought it.
set -eu

build="gcc libc6-dev meson ninja-build pkg-config libsqlite3-dev libjansson-dev libyaml-dev \
libseccomp-dev libnghttp2-dev libssl-dev zlib1g-dev libcurl4-openssl-dev libcurl4 \
protobuf-c-compiler:protoc-c libprotobuf-c-dev ca-certificates"
run="python3 tzdata"
agent="npm:npm"
test="tzdata npm:npm clang libclang-rt-14-dev openssl:openssl libhttp-parser-dev python3 python3-h2 python3-grpcio python3-protobuf nghttp2-client:h2load curl:curl kubernetes-client:kubectl zsh:zsh fish:fish"
bench="nginx-light:nginx bubblewrap:bwrap crun:crun wrk:wrk python3"
fuzz="clang libclang-rt-14-dev"
tidy="clang-tidy-14:clang-tidy"

missing=""
for group in "$@"; do
    eval "packages=\${$group}"
    for item in $packages; do
        p=${item%%:*}
        [ "$p" != "$item" ] && command -v "${item#*:}" >/dev/null && continue
        case " $missing " in *" $p "*) continue ;; esac
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q '^install ok installed$' ||
            missing="$missing $p"
    done
done
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "hob needs these Debian packages and you are not root, nor is there sudo:$missing" >&2
        echo "install them as root: apt-get install$missing" >&2
        exit 1
    }
    as_root="sudo"
fi
echo "installing from Debian:$missing" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086
if ! { $as_root apt-get update -qq &&
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        $missing; } >"$log" 2>&1; then
    cat "$log" >&2
    echo "apt-get could not install:$missing" >&2
    exit 1
fi
