#!/usr/bin/env bash
# The images of the target `elf`: ./dwarf.sh FOLDER
exec "$(dirname "$0")/elf.sh" "$1"
