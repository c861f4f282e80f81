# shellcheck shell=bash
# Part of `setup --android`: what it takes to build a kernel for arm64 as Android does, with clang and lld, and
# to run it: an emulator, and a Debian userland of that architecture. Nothing of the latter is ever run on
# this machine: its packages are unpacked, not configured.

ARM64=$CACHE/arm64
ARM64_ROOT=$ARM64/root
# lld and its tools for the kernel, gendwarfksyms' library, the emulator
ARM64_TOOLS=(lld llvm libdw-dev qemu-system-arm)
# As mmdebstrap is asked for nothing else, what every Debian has has to be named as well.
ARM64_PACKAGES=(
	base-files base-passwd bash coreutils dash diffutils findutils grep sed gzip hostname libc-bin util-linux
	mount procps kmod python3 iproute2 iperf3 nftables conntrack ethtool tcpdump wireguard-tools
	iputils-ping netbase netcat-openbsd psmisc gawk
)

# Packages and folders of LLVM have the number of rustc's in their names
llvm_major() { "$REPO/scripts/in-root" rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p'; }
# The folder with clang, under the same name inside the build root; kbuild wants the slash.
llvm_bin() { echo "$CLANG_DIR"/usr/lib/llvm-*/bin/; }

arm64_recipe() {
	printf '%s\n' 'recipe 1' "${ARM64_TOOLS[@]}" "${ARM64_PACKAGES[@]}" "$(cat "$ROOT/.mpip-tools")" |
		sha256sum | cut -d' ' -f1
}
arm64_ready() { [ "$(cat "$ARM64/.recipe" 2>/dev/null)" = "$(arm64_recipe)" ]; }
# clang is shared with `setup --debug`: fetched anew, it has lost what was put beside it.
android_ready() { clang_ready && [ -x "$(llvm_bin)ld.lld" ] && cross_ready && arm64_ready; }

fetch_arm64_tools() {
	local major version name packages=() deb
	major=$(llvm_major)
	# shellcheck disable=SC2016 # dpkg-query expands it
	version=$("$REPO/scripts/in-root" dpkg-query -W -f '${Version}' "libllvm$major")
	for name in "${ARM64_TOOLS[@]}"; do
		case $name in
		lld | llvm) packages+=("$name-$major=$version") ;;
		*) packages+=("$name") ;;
		esac
	done
	mkdir -p "$ARM64.new/debs"
	(cd "$ARM64.new/debs" && download "${packages[@]}") || {
		"$REPO/scripts/in-root" --as-root --net apt-get -q -o APT::Sandbox::User=root update
		(cd "$ARM64.new/debs" && download "${packages[@]}")
	}
	for deb in "$ARM64.new"/debs/*.deb; do
		case $deb in
		*/lld-* | */llvm-*) dpkg-deb -x "$deb" "$CLANG_DIR" ;;
		*/qemu-system-arm_*) dpkg-deb --fsys-tarfile "$deb" | tar -C "$ARM64.new" -x ./usr/bin/qemu-system-aarch64 ;;
		*) dpkg-deb -x "$deb" "$ARM64.new" ;;
		esac
	done
	rm -r "$ARM64.new/debs"
	# The library itself is in the build root.
	ln -sf /usr/lib/x86_64-linux-gnu/libdw.so.1 "$ARM64.new/usr/lib/x86_64-linux-gnu/libdw.so"
	"$REPO/scripts/in-root" "$(llvm_bin)ld.lld" --version
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

fetch_android() {
	if ! clang_ready; then fetch_clang; fi
	if ! cross_ready; then fetch_cross; fi
	rm -rf --one-file-system "$ARM64.new"
	mkdir -p "$ARM64.new"
	fetch_arm64_tools
	unpack_arm64 "$ARM64.new/${ARM64_ROOT##*/}"
	arm64_recipe >"$ARM64.new/.recipe"
	if [ -d "$ARM64" ]; then
		use_none
		rm -rf --one-file-system "$ARM64"
	fi
	mv "$ARM64.new" "$ARM64"
}
