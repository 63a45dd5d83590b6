#!/bin/sh
# protoc.sh PROTOC-C SOURCES OUTPUT DEPFILE INPUT HEADER -- runs the generator; meson's rule in src/codec/meson.build.
# The header's initialisers take the const off an empty text by a cast, of which our warnings would complain
# wherever such a macro is used; by way of an integer they do not.
set -eu
"$1" "-I$2" "--c_out=$3" "--dependency_out=$4" "$5"
sed -i 's/(char \*)protobuf_c_empty_string/(char *)(uintptr_t)protobuf_c_empty_string/' "$6"
