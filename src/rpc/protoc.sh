#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# protoc.sh PROTOC OUTDIR FILE.proto: protobuf-c's C code. The initialisers in its header drop a const, and they are
# expanded in our files, where -Wcast-qual is an error: the cast goes through a number instead.
set -eu
protoc=$1 out=$2 file=$3
name=$(basename "$file" .proto)
"$protoc" --proto_path="$(dirname "$file")" --c_out="$out" "$file"
sed -i 's/(char \*)protobuf_c_empty_string/(char *)(uintptr_t)protobuf_c_empty_string/g' "$out/$name.pb-c.h"
