# shellcheck shell=bash
# Part of `setup --debug`: a User-Mode Linux that watches itself, for `make test-debug`. KASAN sees into
# Rust only in a kernel that clang has built, and clang has to be as old as rustc's LLVM.

DEBUG_RECIPE=3
CLANG_DIR=$CACHE/clang

debug_config() { grep -v '^#' "$REPO/scripts/uml.config" | cat - "$REPO/scripts/debug.config"; }
debug_id() { echo "recipe $DEBUG_RECIPE $( (cat "$ROOT/.mpip-tools" && debug_config) | sha256sum | cut -d' ' -f1)"; }
debug_ready() { clang_ready && [ "$(cat "$KERNELS/$1/debug/.complete" 2>/dev/null)" = "$(debug_id)" ]; }
clang_ready() { [ "$(cat "$CLANG_DIR/.complete" 2>/dev/null)" = "$(cat "$ROOT/.mpip-tools")" ]; }
# The compiler, under the same name inside the build root.
clang() { echo "$CLANG_DIR"/usr/lib/llvm-*/bin/clang; }

# Three packages besides what the build root has of LLVM.
fetch_clang() {
	local new=$CLANG_DIR.new major version deb packages=()
	major=$("$REPO/scripts/in-root" rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
	# shellcheck disable=SC2016 # dpkg-query expands it
	version=$("$REPO/scripts/in-root" dpkg-query -W -f '${Version}' "libllvm$major")
	for name in "clang-$major" "libclang-cpp$major" "libclang-common-$major-dev"; do packages+=("$name=$version"); done
	rm -rf "$new" "$CLANG_DIR"
	mkdir -p "$new/debs"
	(cd "$new/debs" && download_fresh "${packages[@]}")
	for deb in "$new"/debs/*.deb; do dpkg-deb -x "$deb" "$new"; done
	rm -r "$new/debs"
	mv "$new" "$CLANG_DIR"
	"$REPO/scripts/in-root" "$(clang)" --version
	cp "$ROOT/.mpip-tools" "$CLANG_DIR/.complete"
}

# What clang calls large data would lie where the kernel does not look for data of its own. A few files
# are not of the kind that this is for, and a module's data is far away.
DEBUG_CFLAGS='-mlarge-data-threshold=2147483647 -Wno-unused-command-line-argument'

# mend_bss DIR: kmemleak reads all from __bss_start on. If something in there is aligned to more than a page, no
# segment has the first pages, and User-Mode Linux ends there: the segment has to begin earlier.
mend_bss() {
	local start
	start=$(sed -n 's/ B __bss_start$//p' "$1/System.map")
	"$REPO/scripts/in-root" --as-root python3 - "$1/linux" "0x$start" <<-'EOF'
		import struct
		import sys

		path, start = sys.argv[1], int(sys.argv[2], 16)
		with open(path, "r+b") as file:
		    header = file.read(64)
		    (table,), (size, count) = struct.unpack_from("<Q", header, 32), struct.unpack_from("<HH", header, 54)
		    for at in range(table, table + count * size, size):
		        file.seek(at)
		        # type, flags, offset, virtual and physical address, size in the file and in memory, alignment
		        kind, flags, offset, address, _, in_file, in_memory, _ = struct.unpack("<2I6Q", file.read(56))
		        if kind == 1 and not in_file and start < address < start + (1 << 20):
		            file.seek(at)
		            in_memory += address - start
		            file.write(struct.pack("<2I6Q", kind, flags, offset, start, start, in_file, in_memory, 4096))
	EOF
}

build_debug() {
	local obj=$KERNELS/$1/debug make missing
	if ! clang_ready; then fetch_clang; fi
	make=("$REPO/scripts/in-root" --as-root nice make -C "$KERNELS/$1/source" O="$obj" ARCH=um
		CC="$(clang)" HOSTCC=gcc-14 "KCFLAGS=$DEBUG_CFLAGS" CFLAGS_kmemleak-test.o=-mlarge-data-threshold=0
		-j"$JOBS")
	mkdir -p "$obj"
	rm -f "$obj/.complete"
	debug_config >"$obj/.config"
	"${make[@]}" olddefconfig
	missing=$(debug_config | grep -E '^(CONFIG_|# CONFIG_.* is not set)' | grep -vxFf "$obj/.config") || true
	if [ -n "$missing" ]; then
		echo "not possible in this kernel's configuration: $missing"
		return 1
	fi
	"${make[@]}"
	mend_bss "$obj"
	debug_id >"$obj/.complete"
}
