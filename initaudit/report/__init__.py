"""What an audit has to say, and the forms it is said in: one module a form, each with ``render(…) -> str``."""
