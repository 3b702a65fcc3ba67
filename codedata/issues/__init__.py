"""Write issue reports of bugs as users would: facts, scripts, texts, and their checks."""
