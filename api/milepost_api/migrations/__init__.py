"""Migrations, inside the package so that an installed Milepost can run them."""
