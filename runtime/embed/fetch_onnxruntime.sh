#!/usr/bin/env bash
# For developers and CI on Debian or Ubuntu: puts ONNX Runtime's C headers, of Debian 13's libonnxruntime-dev, into a
# folder, and leaves the system as it is. The library itself comes with the Python wheel `onnxruntime`. Products take
# both from ONNX Runtime's release archives, their distribution or JetPack.
set -euo pipefail

if [[ $# -ne 1 ]]; then
    echo "usage: $0 FOLDER   (its include/ is then for cmake -DONNXRUNTIME_INCLUDE_DIR=FOLDER/include)" >&2
    exit 2
fi
target=$(realpath -m "$1")
[[ -f $target/include/onnxruntime_c_api.h ]] && exit 0

# The machine's own mirror of Debian, with another release.
mirror=$(apt-get indextargets --format '$(SITE) $(REPO_URI)' | awk '$2 ~ /\/debian\/?$/ { print $2; exit }')
if [[ -z $mirror ]]; then
    echo "no Debian mirror among this machine's apt sources: take the headers from ONNX Runtime's release archive" >&2
    exit 1
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch"/{lists/partial,cache/archives/partial,root}
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > "$scratch/sources.list"
touch "$scratch/status"
apt() {
    apt-get -qq -o Dir::Etc::SourceList="$scratch/sources.list" -o Dir::Etc::SourceParts=- -o APT::Sandbox::User=root \
        -o Dir::State="$scratch" -o Dir::State::Lists="$scratch/lists" -o Dir::State::Status="$scratch/status" \
        -o Dir::Cache="$scratch/cache" -o Acquire::Languages=none "$@"
}
apt update
(cd "$scratch" && apt download libonnxruntime-dev)
dpkg-deb --extract "$scratch"/libonnxruntime-dev_*.deb "$scratch/root"
mkdir -p "$target"
header=$(find "$scratch/root" -name onnxruntime_c_api.h)
cp -r "$(dirname "$header")" "$target/include.new"
mv "$target/include.new" "$target/include"
