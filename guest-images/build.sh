#!/bin/sh
# Builds the guest images with gcc and GNU binutils, the same bytes every time:
#   guest-images/build.sh [OUTPUT_DIRECTORY]        (default: guest-images/images)
# After a change of the sources run `node guest-images/check.mjs --update`, which calls this and writes the manifest.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
out=$(mkdir -p "${1:-$here/images}" && CDPATH= cd -- "${1:-$here/images}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
# What could differ between two machines: the order of files (locale), dates, and paths. There is no debug information,
# and sources are named relative to this directory, so no path can get into an object.
export LC_ALL=C SOURCE_DATE_EPOCH=0
umask 022
CC=${CC:-gcc}
cd "$here"

common="-ffreestanding -fno-pic -fno-pie -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none
 -fno-strict-aliasing -fno-common -mgeneral-regs-only -O2 -std=gnu11 -Wall -Wextra -Werror
 -fno-delete-null-pointer-checks --param=min-pagesize=0
 -fno-ident -nostdinc -isystem $($CC -print-file-name=include)"

# --- the 64-bit kernel ---
flags64="$common -m64 -mno-red-zone -mcmodel=small -Ilib -Ikernel"
mkdir -p "$work/k"
for source in lib/ap-start.S lib/boot.S lib/vectors.S lib/*.c kernel/*.c; do
  # shellcheck disable=SC2086
  $CC $flags64 -c "$source" -o "$work/k/$(echo "$source" | tr '/' '_').o"
done
# shellcheck disable=SC2086
$CC $flags64 -E -P -x c lib/linker.ld.in -o "$work/k/linker.ld"
ld -m elf_x86_64 -static --build-id=none -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments \
  -T "$work/k/linker.ld" -o "$work/k/kernel64.elf" "$work"/k/*.o
# Multiboot loaders take 32-bit ELF files only, so the container is 32-bit; the code in it is not touched.
objcopy -O elf32-i386 --strip-all "$work/k/kernel64.elf" "$out/kernel.elf"
chmod 644 "$out/kernel.elf"

# --- the same kernel behind a Linux setup header ---
# A bzImage's protected-mode part is loaded at KERNEL_BASE, for which the kernel is linked. BSS is not in the file.
objcopy -O binary "$work/k/kernel64.elf" "$work/k/kernel.bin"
truncate -s %16 "$work/k/kernel.bin" # the header counts the protected-mode part in units of 16 bytes
address_of() { nm "$work/k/kernel64.elf" | sed -n "s/^0*\([0-9a-f]*\) . $1\$/0x\1/p"; }
init_bytes=$(($(address_of image_end) - $(address_of image_start)))
# shellcheck disable=SC2086
$CC -m32 -Ilib -DKERNEL_BYTES="$(wc -c <"$work/k/kernel.bin")" -DKERNEL_INIT_BYTES=$init_bytes \
  -c lib/linux-setup.S -o "$work/k/setup.o"
ld -m elf_i386 -static --build-id=none -Ttext 0 -e 0 --oformat binary -o "$work/k/setup.bin" "$work/k/setup.o"
cat "$work/k/setup.bin" "$work/k/kernel.bin" >"$out/kernel.bzimage"

# --- the 32-bit benchmark kernels ---
flags32="$common -m32 -march=i586 -Ibench32"
mkdir -p "$work/b"
for source in start.S bench.c sieve.c sha256.c qsort.c crc.c interp.c; do
  # shellcheck disable=SC2086
  $CC $flags32 -c "bench32/$source" -o "$work/b/$source.o"
done
# Double precision by x87, and by SSE2.
float32=$(echo "$flags32" | sed 's/-mgeneral-regs-only//')
# shellcheck disable=SC2086
$CC $float32 -mno-sse -mfpmath=387 -c bench32/double.c -o "$work/b/x87.c.o"
# shellcheck disable=SC2086
$CC $float32 -msse2 -mfpmath=sse -c bench32/double.c -o "$work/b/sse2.c.o"
for name in sieve sha256 qsort crc interp x87 sse2; do
  ld -m elf_i386 -static --build-id=none -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments --strip-all \
    -T bench32/bench32.ld -o "$out/bench32-$name.elf" "$work/b/start.S.o" "$work/b/bench.c.o" "$work/b/$name.c.o"
  chmod 644 "$out/bench32-$name.elf"
done

# --- the loader that tests the Linux 64-bit entry ---
$CC -m32 -c loader64/loader64.S -o "$work/loader64.o"
ld -m elf_i386 -static --build-id=none -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments --strip-all \
  -T loader64/loader64.ld -o "$out/loader64.elf" "$work/loader64.o"
chmod 644 "$out/loader64.elf"

# --- the programs for second opinions on modes, protection and paging ---
mkdir -p "$work/o"
opinions="-fno-tree-loop-distribute-patterns -Iopinions"
flags_opinions32="$common -m32 -march=i586 $opinions"
flags_opinions64="$common -m64 -mno-red-zone -mcmodel=small $opinions"
link_opinion="-static --build-id=none -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments -T opinions/opinions.ld"
for source in start.S runtime.c report.c arithmetic.c instructions.c segments.c gates.c tasks.c paging.c debug.c modes.c \
  triple.c x87.c sse.c algorithms.c; do
  # shellcheck disable=SC2086
  $CC $flags_opinions32 -c "opinions/$source" -o "$work/o/$source.o"
done
for name in arithmetic instructions segments gates tasks paging debug modes triple x87 sse algorithms; do
  # shellcheck disable=SC2086
  ld -m elf_i386 $link_opinion --strip-all -o "$out/opinion-$name.elf" \
    "$work/o/start.S.o" "$work/o/runtime.c.o" "$work/o/report.c.o" "$work/o/$name.c.o"
done
for source in start64.S report.c long.c; do
  # shellcheck disable=SC2086
  $CC $flags_opinions64 -c "opinions/$source" -o "$work/o/64-$source.o"
done
# shellcheck disable=SC2086
ld -m elf_x86_64 $link_opinion -o "$work/o/long.elf" \
  "$work/o/64-start64.S.o" "$work/o/64-report.c.o" "$work/o/64-long.c.o"
objcopy -O elf32-i386 --strip-all "$work/o/long.elf" "$out/opinion-long.elf"
# The teaching hypervisor, behind the same entry.
for source in switch.S hypervisor.c; do
  # shellcheck disable=SC2086
  $CC $flags_opinions64 -Itiny-hypervisor -c "tiny-hypervisor/$source" -o "$work/o/64-$source.o"
done
# shellcheck disable=SC2086
ld -m elf_x86_64 $link_opinion -o "$work/o/hypervisor.elf" \
  "$work/o/64-start64.S.o" "$work/o/64-report.c.o" "$work/o/64-switch.S.o" "$work/o/64-hypervisor.c.o"
objcopy -O elf32-i386 --strip-all "$work/o/hypervisor.elf" "$out/tiny-hypervisor.elf"
chmod 644 "$out/tiny-hypervisor.elf"
chmod 644 "$out"/opinion-*.elf
$CC -m32 -c opinions/disk-boot.S -o "$work/o/disk-boot.o"
ld -m elf_i386 -static --build-id=none -Ttext 0x7C00 -e boot --oformat binary -o "$out/disk-boot.bin" "$work/o/disk-boot.o"
chmod 644 "$out/disk-boot.bin"

# --- static Linux programs, for the initramfs of `npm run guests:debian` ---
for name in flow kvm-guest tsc; do
  # shellcheck disable=SC2086
  $CC $common -m64 -c "linux/programs/$name.c" -o "$work/$name.o"
  ld -m elf_x86_64 -static --build-id=none -z noexecstack --strip-all -o "$out/$name" "$work/$name.o"
  chmod 644 "$out/$name"
done

ls -l "$out"
