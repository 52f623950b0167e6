"""The strategies: from a study's history to the next suggestion or verdict. Values in, values out."""
