pycontain completion fish | source
