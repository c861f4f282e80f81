# shellcheck shell=bash
# Kernels with MPIP in their tree, built from User-Mode Linux's objects: only what differs is compiled.

# intree_prepare WORK DIR KIND…: of the kernel in DIR, WORK/source with MPIP in it, and in WORK/KIND
# objects to begin with. Takes a lock.
intree_prepare() {
	local work=$1 dir=$2
	shift 2
	own_dir "$BUILD" "$LOG" "$work"
	# Other checkouts use the same folder.
	exec 9>"$work/lock"
	if ! flock -n 9; then
		say "waiting for another run to finish …"
		flock 9
	fi
	if [ "$(cat "$work/.complete" 2>/dev/null)" != "$(intree_id "$dir")" ]; then
		need_space $((500 * $#)) "a kernel tree with MPIP in it"
		quietly "copy of kernel source and objects" intree-copy intree_copy "$work" "$dir" "$@"
	fi
	quietly "MPIP into the kernel's source" intree-apply patches/apply "$work/source"
}
intree_id() { stat -c %i "$1/source" && uml_id; }

# A tree of its own: the same files by hard links, which patches/apply replaces and never writes to.
intree_copy() {
	local work=$1 dir=$2 kind
	shift 2
	# `quietly` asks how this ends, and then bash does not stop at what fails.
	rm -rf "$work"/{.complete,source} && cp -al "$dir/source" "$work/source" || return
	for kind; do
		rm -rf "${work:?}/$kind" && cp -a "$dir/uml" "$work/$kind" && rm "$work/$kind/.complete" || return
	done
	intree_id "$dir" >"$work/.complete"
}

# in_place WORK DIR KIND CMD…: with the new trees where the old ones were, or all would be built again
# because of the names in the commands. Only this process and its children see it so.
# shellcheck disable=SC2016 # expanded inside
in_place() {
	scripts/in-root --as-root bash -ec '
		mount --bind "$1/source" "$2/source"
		mount --bind "$1/$3" "$2/uml"
		shift 3
		"$@"' in_place "$@"
}
