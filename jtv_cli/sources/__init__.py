"""Read files, directories and standard input as blocks of texts, each with its line.

`directory` finds the files in directories, as `gitignore` and `repository` let it. `open` looks
at the beginnings of files, `stream` reads their bytes, `source` splits these into lines, and
`lines`, `jsonl`, `json_array` and `delimited` turn them into the texts of `blocks`. `kinds` decides
what a file is read as; `sections` reads documents, which `chunks` cuts, and `extracted` the text of
PDF, Office, EPUB and HTML.
"""
