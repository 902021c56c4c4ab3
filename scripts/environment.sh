# Sourced by scripts/quickstart and scripts/test: `prepare EXTRAS` makes .venv with the package and what it needs.
# A second call finds everything in place and takes no time. PYTHON=... chooses another interpreter for a new .venv.

find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "No Python 3.11 or newer was found; install one, or name it: PYTHON=/path/to/python $0" >&2
    return 1
}

# Runs apt-get as root where that is possible without a question.
as_root_apt() {
    command -v apt-get >/dev/null 2>&1 || return 1
    if [ "$(id -u)" = 0 ]; then
        DEBIAN_FRONTEND=noninteractive apt-get "$@"
    elif sudo -n true 2>/dev/null; then
        sudo -n DEBIAN_FRONTEND=noninteractive apt-get "$@"
    else
        return 1
    fi
}

install_system_package() {
    as_root_apt install -y -q "$1" >/dev/null 2>&1 ||
        { as_root_apt update -q && as_root_apt install -y -q "$1"; } >/dev/null 2>&1
}

prepare() {
    local extras=$1 python stamp wanted
    if [ ! -x .venv/bin/python ]; then
        python=$(find_python)
        echo "making .venv with $python" >&2
        if ! "$python" -m venv .venv >/dev/null 2>&1; then
            rm -rf .venv
            install_system_package python3-venv || true
            "$python" -m venv .venv
        fi
    fi
    stamp=.venv/.installed${extras:+-$extras}
    wanted=$(cat setup.cfg pyproject.toml disentangle/_version.py | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "installing disentangle-toolkit${extras:+[$extras]} and what it needs (torch is large)" >&2
        .venv/bin/python -m pip install -q --disable-pip-version-check -e ".${extras:+[$extras]}"
        echo "$wanted" >"$stamp"
    fi
    if [ ! -d /usr/share/datasets/fashion-mnist ] && ! install_system_package dataset-fashion-mnist; then
        echo "Fashion-MNIST is not installed (Debian: apt-get install dataset-fashion-mnist); going on without it" >&2
    fi
}
