"""Components by name: what is installed, how it is found, set up, checked and written anew."""
