"""What must hold between the values of a document. The way in is :mod:`pycontain.spec.rules.validation`. [lean]"""
