"""What this host lacks for gapless, and what follows from it: judgements of plain values, and who looks them up."""
