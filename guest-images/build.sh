#!/bin/sh
# Builds the guest images with gcc and GNU binutils, the same bytes every time:
#   guest-images/build.sh [OUTPUT_DIRECTORY]        (default: guest-images/images)
# After a change of the sources run it, then `node guest-images/check.mjs --update`.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
out=$(mkdir -p "${1:-$here/images}" && CDPATH= cd -- "${1:-$here/images}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
# Everything that could differ between two machines: locale (sorting), time, paths.
export LC_ALL=C SOURCE_DATE_EPOCH=0
CC=${CC:-gcc}
cd "$here"

common="-ffreestanding -fno-pic -fno-pie -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none
 -fno-strict-aliasing -fno-common -mgeneral-regs-only -O2 -std=gnu11 -Wall -Wextra -Werror
 -fno-delete-null-pointer-checks --param=min-pagesize=0
 -fno-ident -ffile-prefix-map=$here=. -nostdinc -isystem $($CC -print-file-name=include)"

# --- the 64-bit kernel ---
flags64="$common -m64 -mno-red-zone -mcmodel=small -Ilib -Ikernel"
mkdir -p "$work/k"
objects=
for source in lib/boot.S lib/ap-start.S lib/vectors.S lib/*.c kernel/*.c; do
  object="$work/k/$(echo "$source" | tr '/' '_').o"
  # shellcheck disable=SC2086
  $CC $flags64 -c "$source" -o "$object"
  objects="$objects $object"
done
# shellcheck disable=SC2086
$CC $flags64 -E -P -x c lib/linker.ld.in -o "$work/k/linker.ld"
# shellcheck disable=SC2086
ld -m elf_x86_64 -static --build-id=none -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments \
  -T "$work/k/linker.ld" -o "$work/k/kernel64.elf" $objects
# Multiboot loaders take 32-bit ELF files only, so the container is 32-bit; the code in it is not touched.
objcopy -O elf32-i386 --strip-all "$work/k/kernel64.elf" "$out/kernel.elf"
chmod 644 "$out/kernel.elf"

ls -l "$out"
