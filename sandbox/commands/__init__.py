"""The commands of `python -m sandbox`: add_arguments(parser) and main(options) in each."""
