#!/usr/bin/env bash
# Does hwkit build, measure and pass its tests on a machine that has hardly anything?
#
#     tests/fresh_machine.sh [suite] [job ...]     default: this host's suite; bench test
#
# Makes a bare Debian in a temporary folder from the host's own package sources, clones HEAD into
# it and runs `make JOB` there as an ordinary user. Needs root and mmdebstrap or debootstrap. Mounts
# live in a namespace of their own: they vanish with the last process, however that ends.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${1:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
jobs=("${@:2}")
[ ${#jobs[@]} -gt 0 ] || jobs=(bench test)
# ca-certificates is for the package index of this host, which may have a certificate of its own.
packages=python3,python3-venv,python3-dev,gcc,make,ca-certificates
[ "$(id -u)" = 0 ] || { echo "fresh_machine.sh: needs root, to mount and chroot" >&2; exit 3; }

work=$(mktemp -d)
chmod 755 "$work"
root=$work/root
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM HUP
SECONDS=0

sources=()
for file in /etc/apt/sources.list /etc/apt/sources.list.d/{debian,ubuntu}.sources; do
    if [ -s "$file" ]; then sources+=("$file"); fi
done
if command -v mmdebstrap >/dev/null; then
    mmdebstrap --quiet --variant=minbase --include="$packages" "$suite" "$root" "${sources[@]}"
elif command -v debootstrap >/dev/null; then
    debootstrap --variant=minbase --include="$packages" "$suite" "$root" >"$work/log" ||
        { cat "$work/log" >&2; exit 1; }
else
    echo "fresh_machine.sh: needs mmdebstrap or debootstrap" >&2
    exit 3
fi
echo "fresh_machine.sh: $suite made at $SECONDS s"

chroot "$root" useradd --create-home user
git clone --quiet . "$root/home/user/hwkit"
chroot "$root" chown -R user: /home/user
cp -L /etc/resolv.conf /etc/hosts "$root/etc"
if [ -s /etc/ssl/certs/ca-certificates.crt ]; then
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
fi
# pip in there finds packages as pip does here: its settings, and the local folders they name.
python3 -m pip config list | python3 -c '
import ast, pathlib, re, sys
settings, folders = {}, set()
for line in sys.stdin:
    key, _, value = line.strip().partition("=")
    key, value = key.rpartition(".")[2], ast.literal_eval(value)
    settings[key] = value
    for word in value.split():
        path = pathlib.Path(word.removeprefix("file://"))
        if path.is_absolute() and path.is_dir():
            # The pages of a local index link to files beside its folder.
            folders.add(path.parent if word.startswith("file:") and len(path.parts) > 3 else path)
with open(sys.argv[1], "w") as file:
    print("[global]", file=file)
    for key, value in settings.items():
        print(key, "=", value.replace("\n", "\n    ").replace("%", "%%"), file=file)
pathlib.Path(sys.argv[2]).write_text("".join(f"{folder}\n" for folder in sorted(folders)))
' "$root/etc/pip.conf" "$work/folders"

proxies=()
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    if [ -n "${!name:-}" ]; then proxies+=("$name=${!name}"); fi
done

# In the background and waited for, so that a signal is answered at once.
unshare --mount --pid --fork --kill-child bash -euo pipefail -c '
    root=$1 folders=$2
    shift 2
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    while read -r folder; do
        mkdir -p "$root$folder"
        mount --bind "$folder" "$root$folder"
    done <"$folders"
    # Not by exec: to change user is to lose the parent-death signal, and then Ctrl-C leaves orphans.
    code=0
    chroot --userspec=user:user "$root" env --ignore-environment --chdir=/home/user/hwkit "$@" || code=$?
    exit "$code"
' - "$root" "$work/folders" HOME=/home/user USER=user PATH=/usr/bin:/bin LANG=C.UTF-8 "${proxies[@]}" \
    bash -euc 'for job; do echo "fresh_machine.sh: make $job"; make "$job"; done' - "${jobs[@]}" &
inside=$!
# unshare heeds nothing less; its end is the end of the namespace and all in it (--kill-child).
trap 'kill -KILL "$inside" 2>/dev/null; wait "$inside" || true; exit 130' INT TERM HUP
wait "$inside"
echo "fresh_machine.sh: ${jobs[*]} done on a bare $suite in $SECONDS s"
