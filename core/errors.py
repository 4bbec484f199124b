"""The one exception a user may see.

Everything that can go wrong because of what came from outside (a file, an option, a plugin, a missing extra) is raised as
`M2MError` with one sentence: what came, what was wanted, what to do. The command line prints that sentence and exits with 1;
any other exception is a bug.
"""


class M2MError(Exception):
    """A failure that its reader can mend; the message is a single clear sentence."""
