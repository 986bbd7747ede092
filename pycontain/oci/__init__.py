"""``pycontain-oci``: the command line that container engines drive an OCI runtime by. [lean]

::

    argv ── words ──► Told ── main ──► one module per verb ──► bundle, assembly ──► plan ──► runtime
                                                          └──► store: <root>/<id>/
"""
