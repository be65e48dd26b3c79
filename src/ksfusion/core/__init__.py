"""What every part uses: storage, provenance, errors, devices, resources."""
