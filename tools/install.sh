#!/bin/sh
# install.sh install|uninstall HOB PREFIX [DESTDIR] -- the program, its manual page and the shells' completions.
# What is installed is made by the program itself, so it is of its version. Nothing else is touched: no unit is
# enabled, no folder of data is made.
set -eu
action=$1 hob=$2 prefix=$3 root=${4-}

bin=$root$prefix/bin/hob
man=$root$prefix/share/man/man1/hob.1
bash=$root$prefix/share/bash-completion/completions/hob
zsh=$root$prefix/share/zsh/site-functions/_hob
fish=$root$prefix/share/fish/vendor_completions.d/hob.fish

put() { # FILE, from stdin; whole or not at all
    mkdir -p "$(dirname "$1")"
    cat >"$1.new" && chmod 0644 "$1.new" && mv "$1.new" "$1"
}

case $action in
install)
    mkdir -p "$(dirname "$bin")"
    install -m 0755 "$hob" "$bin.new" && mv "$bin.new" "$bin" # a running one keeps its file
    "$hob" __docs man | put "$man"
    "$hob" completion bash | put "$bash"
    "$hob" completion zsh | put "$zsh"
    "$hob" completion fish | put "$fish"
    ;;
uninstall) rm -f "$bin" "$man" "$bash" "$zsh" "$fish" ;;
*)
    echo "install.sh: '$action' is neither install nor uninstall" >&2
    exit 2
    ;;
esac
