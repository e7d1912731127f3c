"""What runs on a board as well as here: self-tests, benchmark, and a command where there is no compiler."""
