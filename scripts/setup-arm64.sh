# shellcheck shell=bash
# Part of `setup`: what it takes to run a kernel for arm64: an emulator, and a Debian userland of that
# architecture. Nothing of the latter is ever run on this machine: its packages are unpacked, not configured.
# And the compiler proper, for the stock kernel's module: `make static` needs no more than what links.

ARM64=$CACHE/arm64
ARM64_ROOT=$ARM64/root
# gendwarfksyms' library, for Android's kernel; the emulator
ARM64_TOOLS=(libdw-dev qemu-system-arm)
# As mmdebstrap is asked for nothing else, what every Debian has has to be named as well.
ARM64_PACKAGES=(
	base-files base-passwd bash coreutils dash diffutils findutils grep sed gzip hostname libc-bin util-linux
	mount procps kmod python3 iproute2 iperf3 nftables conntrack ethtool tcpdump wireguard-tools
	iputils-ping netbase netcat-openbsd psmisc gawk
)

userland_recipe() {
	printf '%s\n' 'recipe 1' "${ARM64_TOOLS[@]}" "${ARM64_PACKAGES[@]}" "$(cat "$ROOT/.mpip-tools")" |
		sha256sum | cut -d' ' -f1
}
userland_ready() { [ "$(cat "$ARM64/.recipe" 2>/dev/null)" = "$(userland_recipe)" ]; }
cross_cc_ready() { cross_ready && compgen -G "$CROSS/usr/libexec/gcc-cross/aarch64-linux-gnu/*/cc1" >/dev/null; }
arm64_ready() { userland_ready && cross_cc_ready; }

fetch_userland() {
	local deb
	rm -rf --one-file-system "$ARM64.new"
	mkdir -p "$ARM64.new/debs"
	(cd "$ARM64.new/debs" && download_fresh "${ARM64_TOOLS[@]}")
	for deb in "$ARM64.new"/debs/*.deb; do
		case $deb in
		*/qemu-system-arm_*) dpkg-deb --fsys-tarfile "$deb" | tar -C "$ARM64.new" -x ./usr/bin/qemu-system-aarch64 ;;
		*) dpkg-deb -x "$deb" "$ARM64.new" ;;
		esac
	done
	rm -r "$ARM64.new/debs"
	# The library itself is in the build root.
	ln -sf /usr/lib/x86_64-linux-gnu/libdw.so.1 "$ARM64.new/usr/lib/x86_64-linux-gnu/libdw.so"
	unpack_arm64 "$ARM64.new/${ARM64_ROOT##*/}"
	userland_recipe >"$ARM64.new/.recipe"
	if [ -d "$ARM64" ]; then
		use_none
		rm -rf --one-file-system "$ARM64"
	fi
	mv "$ARM64.new" "$ARM64"
}

unpack_arm64() {
	local dir=$1 python
	bootstrap "$dir" --variant=extract --architectures=arm64 --skip=check/qemu \
		--include="$(packages "${ARM64_PACKAGES[@]}")"
	# What their scripts would have done.
	cp "$dir/usr/share/base-passwd/passwd.master" "$dir/etc/passwd"
	cp "$dir/usr/share/base-passwd/group.master" "$dir/etc/group"
	ln -sf gawk "$dir/usr/bin/awk"
	ln -sf nc.openbsd "$dir/usr/bin/nc"
	mkdir -p "$dir"/{dev,proc,sys,run,tmp,mnt}
	rm -rf "$dir/var/run"
	ln -s /run "$dir/var/run"
	vm_start "$dir/usr/sbin/mpip-vm-start"
	# Python compiles for no processor in particular: once, here, rather than each time in an emulator.
	python=$(echo "$dir"/usr/lib/python3.*)
	"$REPO/scripts/in-root" --as-root python3 -m compileall -q -j 0 -s "$dir" -p / "$python" || true
}

# The compiler that gcc's driver starts, where the driver looks for it.
fetch_cross_cc() {
	local new=$CROSS/cc.new cc1
	if ! cross_ready; then fetch_cross; fi
	rm -rf "$new"
	mkdir "$new"
	(cd "$new" && download_fresh cpp-14-aarch64-linux-gnu)
	dpkg-deb -x "$new"/*.deb "$new"
	cc1=$(cd "$new" && echo usr/libexec/gcc-cross/aarch64-linux-gnu/*/cc1)
	mv "$new/$cc1" "$CROSS/$cc1.new"
	rm -r "$new"
	mv "$CROSS/$cc1.new" "$CROSS/$cc1"
}

fetch_arm64() {
	if ! cross_cc_ready; then fetch_cross_cc; fi
	if ! userland_ready; then fetch_userland; fi
}
