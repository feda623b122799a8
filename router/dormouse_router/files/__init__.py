"""The bytes of files: in a folder, in a bucket, or in memory, and in step with the rows that speak of them.

`filing` has the protocols; this folder fulfils them over rows that `store` keeps. Alone in importing obstore. A blob is
called by the id of its file or part and by nothing else, so no path is ever made of what a client said.
"""

from dormouse_router.files.opening import Rows as Rows
from dormouse_router.files.opening import files_in_memory as files_in_memory
from dormouse_router.files.opening import open_files as open_files
from dormouse_router.files.opening import open_in_memory as open_in_memory
