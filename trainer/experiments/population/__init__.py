"""The population: many clean and backdoored networks, to measure scanners on."""
