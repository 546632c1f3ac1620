"""Files for phones, gateways and others that read a list without this library: the numbers that block now."""
