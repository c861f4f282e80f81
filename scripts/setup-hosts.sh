# shellcheck shell=bash
# Part of `setup`: the file system of a freshly installed Debian, with systemd, for `make test-hosts`.

HOSTS=$CACHE/hosts
HOSTS_PACKAGES=(systemd-sysv udev kmod procps iproute2 iperf3 jq)

hosts_recipe() { printf '%s\n' 'recipe 1' "${HOSTS_PACKAGES[@]}" "$(cat "$ROOT/.mpip-tools")" | sha256sum | cut -d' ' -f1; }
hosts_ready() { [ "$(cat "$HOSTS/.mpip-recipe" 2>/dev/null)" = "$(hosts_recipe)" ]; }

fetch_hosts() {
	bootstrap "$HOSTS.new" --variant=minbase --include="$(packages "${HOSTS_PACKAGES[@]}")"
	hosts_recipe >"$HOSTS.new/.mpip-recipe"
	if [ -d "$HOSTS" ]; then
		use_none
		rm -rf --one-file-system "$HOSTS"
	fi
	mv "$HOSTS.new" "$HOSTS"
}
