# shellcheck shell=bash
# Part of `setup`: what `make static` needs besides the build root to make programs for aarch64, and
# to run them. The packages are unpacked beside the root, not installed: nothing else should see
# them. Rust's library has to be of the very compiler in the root.

CROSS=$CACHE/cross
CROSS_PACKAGES=(gcc-14-aarch64-linux-gnu binutils-aarch64-linux-gnu libgcc-14-dev-arm64-cross
	libc6-dev-arm64-cross qemu-user)

cross_recipe() { printf '%s\n' 'recipe 1' "${CROSS_PACKAGES[@]}" "$(cat "$ROOT/.mpip-tools")" | sha256sum | cut -d' ' -f1; }
cross_ready() { [ "$(cat "$CROSS/.recipe" 2>/dev/null)" = "$(cross_recipe)" ]; }

# cross_apt ARG…: with an index of both architectures, of its own.
cross_apt() {
	"$REPO/scripts/in-root" --as-root --net apt-get -q -o APT::Sandbox::User=root -o Acquire::Retries=3 \
		-o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o "Dir::State::Lists=$CROSS.new/lists" \
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
}

fetch_cross() {
	local deb rustc
	rm -rf "$CROSS.new"
	mkdir -p "$CROSS.new/debs" "$CROSS.new/lists/partial"
	rustc=$(sed 's/.*rustc=\([^ ]*\).*/\1/' "$ROOT/.mpip-tools")
	cross_apt -o APT::Update::Error-Mode=any update
	(cd "$CROSS.new/debs" && cross_apt download "${CROSS_PACKAGES[@]}" "libstd-rust-dev:arm64=$rustc")
	for deb in "$CROSS.new/debs"/*.deb; do
		case $deb in
		# One emulator of the thirty that are in there.
		*/qemu-user_*) dpkg-deb --fsys-tarfile "$deb" | tar -C "$CROSS.new" -x ./usr/bin/qemu-aarch64 ;;
		*) dpkg-deb -x "$deb" "$CROSS.new" ;;
		esac
	done
	rm -rf "$CROSS.new/debs" "$CROSS.new/lists"
	# Some libraries are scripts that name others by where they would be installed.
	grep -rlI ' /usr/aarch64-linux-gnu/' "$CROSS.new/usr/aarch64-linux-gnu/lib" |
		xargs sed -i "s|/usr/aarch64-linux-gnu/|$CROSS/usr/aarch64-linux-gnu/|g"
	# Its libraries are not where the loader looks. rustc knows by the name how to talk to it.
	cat >"$CROSS.new/aarch64-linux-gnu-gcc" <<-EOF
		#!/bin/sh
		LD_LIBRARY_PATH='$CROSS/usr/lib/x86_64-linux-gnu' PATH='$CROSS/usr/bin':\$PATH \\
			exec '$CROSS/usr/bin/aarch64-linux-gnu-gcc-14' "\$@"
	EOF
	chmod 755 "$CROSS.new/aarch64-linux-gnu-gcc"
	cross_recipe >"$CROSS.new/.recipe"
	rm -rf "$CROSS"
	mv "$CROSS.new" "$CROSS"
}
