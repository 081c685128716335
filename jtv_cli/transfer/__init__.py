"""Whole tables: to and from a stream of JSON lines, and from one store to another.

A stream is a header, a record for each document, one for each source that has details,
and a closing record, a line each:

    {"format":"jtv-export","version":2,"table":…,"model":…,"task":…,"dimensions":…,
     "metric":"cosine","vectors":true}
    {"id":1,"content":…,"occurrences":[{"source":…,"line":…,"metadata":…}],"vector":"…"}
    {"source":…,"details":{…}}
    {"documents":1,"sha256":"…"}

An occurrence of more than one line has its last as `end_line`. A vector is its float32
numbers, little-endian, in base64. The digest is of all the bytes before the closing
record, so that a truncated export is detected even if it ends with a whole line. Version 1
of the format had neither `end_line` nor sources.
"""
