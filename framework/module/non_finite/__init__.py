"""NaN and infinity in a step: left out, or traced to where they began."""
