# SPDX-License-Identifier: Apache-2.0
# Turns "-- name: device_upsert" blocks of an SQL file into C strings: SQL_DEVICE_UPSERT.
# The text before the first name is dropped; a file without names becomes one string, -v whole=NAME.
function quote(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); return "    \"" s "\\n\"\n" }
function flush() { if (name != "") printf "static const char SQL_%s[] =\n%s    \"\";\n\n", toupper(name), body }
BEGIN {
    print "/* Generated from SQL; do not edit. */\n#pragma once\n"
    name = whole; body = ""
}
/^-- name: / { flush(); name = $3; body = ""; next }
/^[ \t]*--/ { next }
/^[ \t]*$/ { next }
{ body = body quote($0) }
END { flush() }
