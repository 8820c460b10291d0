# SPDX-License-Identifier: Apache-2.0
# Reads names of files and checks each: license, length; in C also the length of functions, forbidden
# calls, printf, who includes whom.

function report(text) {
    print file ":" line ": " text
    bad = 1
}

# The line without comments and without what is inside quotes; in_comment spans lines.
function code_of(text,    out, c, two) {
    if (!in_comment && text !~ /["'\/]/)
        return text
    out = ""
    while (text != "") {
        if (in_comment) {
            c = index(text, "*/")
            if (!c)
                return out
            text = substr(text, c + 2)
            in_comment = 0
            continue
        }
        c = match(text, /["'\/]/)
        if (!c)
            return out text
        out = out substr(text, 1, c - 1)
        text = substr(text, c)
        two = substr(text, 1, 2)
        if (two == "//")
            return out
        if (two == "/*") {
            in_comment = 1
            text = substr(text, 3)
        } else if (match(text, /^"([^"\\]|\\.)*"/) || match(text, /^'([^'\\]|\\.)*'/)) {
            out = out "\"\""
            text = substr(text, RLENGTH + 1)
        } else {
            out = out substr(text, 1, 1)
            text = substr(text, 2)
        }
    }
    return out
}

function under(folder) {
    return index(file, folder) == 1
}

function calls(code, names) {
    return code ~ ("(^|[^A-Za-z0-9_.>])(" names ")[ \t]*\\(")
}

function check_calls(code) {
    if (calls(code, "sleep|usleep|uv_sleep|nats_Sleep"))
        report("a sleep: wait for the condition, with a deadline")
    if (calls(code, "system|popen"))
        report("a shell: start the program itself")
    if (calls(code, "strcpy|stpcpy|strcat|sprintf|vsprintf|gets"))
        report("an unbounded copy: str_copy or snprintf")
    if (calls(code, "atoi|atol|atoll|atof"))
        report("a number without errors: str_u64")
    if (!under("tests/") && !under("captain/cli/") && file != "common/log.c" &&
        calls(code, "v?f?printf|v?dprintf|f?puts|f?putc|putchar|perror"))
        report("printf outside captain/cli and common/log.c")
}

function check_function(code) {
    if (code ~ /^\{[ \t]*$/)
        start = line
    if (code ~ /^\}[ \t]*$/ && start) {
        if (line - start + 1 > 70)
            report("a function of " line - start + 1 " lines, at most 70")
        start = 0
    }
}

# Only those may include a library's header.
function check_library(name) {
    if (under("tests/"))
        return
    if (name == "nats.h" || name == "nats/nats.h") {
        if (file != "common/bus.c")
            report(name " belongs to common/bus.c alone")
    } else if (name == "sqlite3.h") {
        if (file != "common/db.c")
            report(name " belongs to common/db.c alone")
    } else if (name == "curl/curl.h") {
        if (!under("agent/fetch/"))
            report(name " belongs to agent/fetch alone")
        else if (curl_user != "")
            report(name " is included by " curl_user " already")
        curl_user = file
    } else if (name == "archive.h" && !under("agent/fetch/") && !under("captain/cli/"))
        report(name " belongs to agent/fetch and captain/cli")
}

# Which folders a file may include from, as a pattern; everything for tests.
function allowed_folders() {
    if (under("common/base/"))
        return "^common/base/"
    if (under("common/"))
        return "^(common|proto)/"
    if (under("proto/"))
        return "^(proto|common/base)/"
    if (under("agent/core/"))
        return "^(agent/core|common/base)/"
    if (under("captain/core/"))
        return "^(captain/core|common/base)/"
    if (under("agent/"))
        return "^(agent|common|proto)/"
    if (under("captain/"))
        return "^(captain|common|proto)/"
    return ""
}

function check_include(text,    name) {
    name = text
    sub(/^[ \t]*#[ \t]*include[ \t]*["<]/, "", name)
    sub(/[">].*$/, "", name)
    check_library(name)
    if (text ~ /"/ && name !~ allowed_folders())
        report("may not include " name " (only " allowed_folders() ")")
}

function check_c(text,    code) {
    code = code_of(text)
    if (code ~ /^[ \t]*#[ \t]*include/)
        check_include(text)
    check_calls(code)
    check_function(code)
}

{
    file = $0
    line = start = in_comment = licensed = 0
    while ((got = (getline text < file)) > 0) {
        line++
        if (line <= 3 && text ~ /SPDX-License-Identifier: Apache-2\.0/)
            licensed = 1
        if (file ~ /\.[ch]$/)
            check_c(text)
    }
    close(file)
    if (got < 0)
        report("cannot be read")
    if (!licensed)
        report("no SPDX line at the top")
    if (line > 600)
        report("more than 600 lines")
    if (file ~ /\.c$/)
        sources++
}

END {
    if (!sources) {
        print "style: no C files found"
        bad = 1
    }
    exit bad
}
