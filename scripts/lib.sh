# shellcheck shell=bash disable=SC2034 # the variables are for those who source this
# Shared by every script in this folder: where things are, how progress is shown, how failures are
# reported, how to become root and how to run a command inside the build root.

set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
BUILD=$REPO/build
LOG=$BUILD/log

# The person behind `sudo` owns the cache and the build outputs, not root.
OWNER=$(id -u):$(id -g)
OWNER_HOME=${HOME:-/root}
if [ "$(id -u)" = 0 ] && [ -n "${SUDO_UID:-}" ] && [ "$SUDO_UID" != 0 ]; then
	OWNER=$SUDO_UID:${SUDO_GID:-$SUDO_UID}
	OWNER_HOME=$(getent passwd "$SUDO_UID" | cut -d: -f6)
	unset XDG_CACHE_HOME
fi

CACHE=${MPIP_CACHE:-${XDG_CACHE_HOME:-$OWNER_HOME/.cache}/mpip}
ROOT=$CACHE/root
KERNELS=$CACHE/kernel
# cargo's outputs: one folder for each checkout
TARGET=$CACHE/target/$(cksum <<<"$REPO" | cut -d' ' -f1)
JOBS=$(nproc)

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# log_failure LOGFILE WHAT: a quiet step failed; show the end of what it said.
log_failure() {
	printf '\n--- last lines of %s\n' "$1" >&2
	tail -n 30 "$1" >&2 || true
	printf -- '---\nerror: %s failed; the full log is %s\n' "$2" "$1" >&2
}

# quietly WHAT LOGNAME CMD…: one progress line, output to build/log/LOGNAME.log.
quietly() {
	local what=$1 log=$LOG/$2.log start=$SECONDS rc=0
	shift 2
	own_dir "$BUILD" "$LOG"
	printf "%s … " "$what" >&2
	"$@" >"$log" 2>&1 </dev/null || rc=$?
	own "$log"
	if [ $rc = 0 ]; then
		printf "%d s\n" $((SECONDS - start)) >&2
	else
		printf "FAILED after %d s\n" $((SECONDS - start)) >&2
		log_failure "$log" "$what"
	fi
	return $rc
}

# Files made by root on behalf of a user are given back to that user.
own() { if [ "$(id -u)" = 0 ]; then chown -h "$OWNER" "$@"; fi; }
own_dir() {
	local dir
	for dir; do
		if [ ! -d "$dir" ]; then
			mkdir -p "$dir"
			own "$dir"
		fi
	done
}

# need_root "$@": start this script again through sudo unless it already runs as root.
need_root() {
	if [ "$(id -u)" = 0 ]; then return; fi
	command -v sudo >/dev/null || die "$(basename "$0") needs root: run it as root or install sudo"
	export MPIP_CACHE=$CACHE
	local names
	# By name only: values, tokens of registries among them, would be on a command line for all to see.
	names=$(compgen -e | grep -E '^(MPIP_|CARGO_|PROPTEST_|RUSTDOCFLAGS$|TERM$|NO_COLOR$|SSL_CERT_FILE$|(https?|no|all)_proxy$|(HTTPS?|NO|ALL)_PROXY$)' | paste -sd,)
	exec sudo --preserve-env="$names" "$0" "$@"
}

# use_root: keep `setup` from replacing the build root while this process or its children live.
use_root() {
	exec 8>>"$CACHE/in-use"
	flock -s 8
}

# need_space MIB WHAT [DIR]: fail early rather than half-way through an unpack.
need_space() {
	local dir=${3:-$CACHE} free
	free=$(df --output=avail -m "$dir" | tail -n 1 | tr -d ' ')
	[ "$free" -ge "$1" ] ||
		die "$2 needs $1 MiB in $dir but only $free MiB are free (MPIP_CACHE moves the cache elsewhere)"
}

# The kernel in use: MPIP_KERNEL if given, otherwise what `setup` found best. The answer is kept in
# the cache so that later runs need no network. There is one for amd64 and, where it was asked for, one for arm64.
kernel_choice_file() {
	local request=${MPIP_KERNEL:-default}
	[[ $request =~ ^[A-Za-z0-9.+~-]+$ ]] || die "MPIP_KERNEL: not a kernel version: \"$request\""
	case $1 in
	amd64) echo "$KERNELS/choice.$request" ;;
	*) echo "$KERNELS/choice-$1.$request" ;;
	esac
}

kernel_version() { kernel_of amd64; }
kernel_of() {
	local file
	file=$(kernel_choice_file "$1")
	if [ -s "$file" ]; then
		cat "$file"
	elif [ "$1" = amd64 ]; then
		die "no kernel prepared yet: run 'make setup'"
	else
		die "no kernel for $1 prepared yet: run 'make test-$1'"
	fi
}
