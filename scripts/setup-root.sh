# shellcheck shell=bash
# Part of `setup`: the trixie build root. It serves three ends: its rustc, bindgen and gcc are the
# very ones that built Debian's kernel (a Rust module must match them exactly), its qemu and
# virtiofsd run the VM on any host, and the VM uses it, read-only, as its root file system.

ROOT_PACKAGES=(
	# the module
	gcc-14 make rustc rust-src bindgen flex bison bc libelf-dev libssl-dev
	cpio kmod xz-utils python3 python3-yaml python3-jsonschema pahole
	# mpipctl and the checks
	cargo rustfmt rust-clippy gcc libc6-dev pkgconf ca-certificates shellcheck diffutils
	# the VM itself
	qemu-system-x86 virtiofsd
	# what scripts in the VM may use
	iproute2 iperf3 mptcpize nftables iptables conntrack ethtool tcpdump tshark openvswitch-switch
	wireguard-tools procps iputils-ping netcat-openbsd jq socat util-linux psmisc file gawk
	bash-completion
)

# The address of the Debian archive as this machine knows it. Lines come from apt itself, so a
# local mirror, a proxy or an authenticated archive works without being named here.
debian_archive() {
	# shellcheck disable=SC2016 # apt expands these
	apt-get indextargets \
		--format '$(REPO_URI)|$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(SUITE)|$(CODENAME)' \
		'Created-By: Packages' |
		awk -F'|' '$2 == "Debian" && $3 == "Debian" && $4 == "main" && $1 !~ /^(file|cdrom):/ &&
			$5 !~ /-(updates|backports|proposed)/ && !n++ { print $1 }'
}

# Settings without which apt cannot reach the archive from here: proxies, certificates, clocks.
apt_access_settings() {
	apt-config dump | grep -E '^Acquire::(https?|Retries|Check-Valid-Until|Check-Date|Max-FutureTime|ForceIPv[46])' |
		grep -Ev ' "";$|[Pp]roxy-[Aa]uto-[Dd]etect' || true
}

# The packages this machine lacks.
host_missing() {
	local need
	# command and the package that has it
	for need in mmdebstrap:mmdebstrap flock:util-linux unshare:util-linux xz:xz-utils patch:patch git:git; do
		command -v "${need%%:*}" >/dev/null || echo "${need##*:}"
	done
	[ -e /usr/share/keyrings/debian-archive-trixie-automatic.gpg ] || echo debian-archive-keyring
}
host_ready() { [ -z "$(host_missing)" ]; }

# apt's lists may be missing or old: an old keyring installs well and still lacks trixie's keys.
host_packages() {
	local packages
	readarray -t packages < <(host_missing)
	if ! apt-get install -y --no-install-recommends "${packages[@]}" || ! host_ready; then
		apt-get update
		apt-get install -y --no-install-recommends "${packages[@]}"
	fi
	host_ready || {
		echo "what apt offers here is too old for: $(host_missing | paste -sd' ')"
		return 1
	}
}

root_recipe() { printf '%s\n' 'recipe 1' "${ROOT_PACKAGES[@]}" | sha256sum | cut -d' ' -f1; }
root_ready() { [ "$(cat "$ROOT/.mpip-recipe" 2>/dev/null)" = "$(root_recipe)" ]; }

# bootstrap DIR OPTION…: have mmdebstrap make a Debian trixie there, from the archive that this machine uses.
bootstrap() {
	local dir=$1 uri=${MPIP_MIRROR:-} settings=$CACHE/apt-access.conf hooks=() file
	shift
	if [ -z "$uri" ]; then
		uri=$(debian_archive)
		if [ -z "$uri" ]; then
			apt-get update
			uri=$(debian_archive)
		fi
	fi
	if [ -z "$uri" ]; then
		echo "apt on this machine knows no Debian archive; set MPIP_MIRROR=URI"
		return 1
	fi
	apt_access_settings >"$settings"
	# A mirror list (as in Debian's cloud images) and access data are files apt needs inside, too.
	for file in /etc/apt/auth.conf /etc/apt/auth.conf.d "${uri#mirror+file:}"; do
		if [ -e "$file" ] && [[ $file = /* ]]; then
			hooks+=("--setup-hook=mkdir -p \"\$1\"$(dirname "$file")" "--setup-hook=cp -a $file \"\$1\"$(dirname "$file")/")
		fi
	done
	# An interrupted mmdebstrap may have left /dev and /proc mounted in there.
	rm -rf --one-file-system "$dir"
	mmdebstrap --mode=root --skip=check/empty \
		--aptopt="$settings" --aptopt='APT::Install-Recommends "false"' \
		--aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "3"' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		"${hooks[@]}" "$@" trixie "$dir" "deb $uri trixie main" "deb $uri trixie-backports main"
}
# A list of packages as mmdebstrap wants it
packages() { paste -sd, < <(printf '%s\n' "$@"); }

# vm_start FILE: PID 1 of the VM: mount the folder made for this very run and go on with the script in it.
vm_start() {
	cat >"$1" <<-'END'
		#!/bin/bash
		mount -t virtiofs run /mnt && exec /bin/bash /mnt/init
	END
	chmod 755 "$1"
}

# Builds and VMs hold this lock as long as they use what is below the cache: wait for them to end.
use_none() {
	exec 8>"$CACHE/in-use"
	flock 8
}

build_root() {
	local new=$ROOT.new
	bootstrap "$new" --variant=minbase --include="$(packages "${ROOT_PACKAGES[@]}")"
	vm_start "$new/usr/sbin/mpip-vm-start"
	chroot "$new" dpkg-query -W rustc bindgen gcc-14 | tr '\t\n' '= ' >"$new/.mpip-tools"
	root_recipe >"$new/.mpip-recipe"
	use_none
	if [ -d "$ROOT" ]; then mv "$ROOT" "$ROOT.old.$$"; fi
	mv "$new" "$ROOT"
	rm -rf --one-file-system "$ROOT".old.*
}
