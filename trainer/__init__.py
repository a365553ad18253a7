"""The science: data, networks, attacks, training, metrics and defences, on torch."""
