"""Files that were damaged on purpose, and what reads them: a sentence that names the file, or the right contents."""
