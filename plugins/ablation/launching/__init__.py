"""The launcher ``local``: trials in this process, or in worker processes of this machine."""
