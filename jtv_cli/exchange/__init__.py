"""Whole tables on their way: to and from a stream of JSON lines, and between stores.

A stream is a header, a record for each document, and a closing record, a line each:

    {"format":"jtv-export","version":1,"table":…,"model":…,"task":…,"dimensions":…,
     "metric":"cosine","vectors":true}
    {"id":1,"content":…,"occurrences":[{"source":…,"line":…,"metadata":…}],"vector":"…"}
    {"documents":1,"sha256":"…"}

A vector is its float32 numbers, little-endian, in base64. The digest is of all the
bytes before the closing record, so that a cut is noticed even at the end of a line.
"""
