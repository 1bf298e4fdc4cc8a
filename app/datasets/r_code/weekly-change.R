adeff <- dataset("adeff")
adeff <- adeff[is(adeff$ANL01FL, "Y") & is(adeff$EFFFL, "Y") & !is.na(adeff$CHG), ]
measures <- @MEASURES@
scales <- @SCALES@
parameters <- @PARAMETERS@
weeks <- @WEEKS@
for (i in seq_along(parameters)) {
  changes <- lapply(weeks, function(week)
    number(adeff$CHG[adeff$PARAMCD == parameters[i] & is(adeff$AVISITN, as.character(week))]))
  ranks <- lapply(changes, signed_rank)
  p <- sapply(ranks, function(each) each$p)
  t_p <- sapply(changes, function(d) if (length(d) > 1 && sd(d) > 0) t.test(d)$p.value else NA)
  for (k in seq_along(weeks)) {
    place <- sprintf("/results/measure=%s,scale=%s,week=%d", measures[i], scales[i], weeks[k])
    show(paste0(place, "/n"), length(changes[[k]]))
    show_change(place, changes[[k]])
    show(paste0(place, "/tests/0/statistic"), ranks[[k]]$statistic)
    show(paste0(place, "/tests/0/p"), p[k])
    show(paste0(place, "/tests/0/p_adjusted"), p.adjust(p, "holm")[k])
    show(paste0(place, "/tests/method=paired_t/p_adjusted"), p.adjust(t_p, "holm")[k])
    if (scales[i] == "ln" && length(changes[[k]]))
      show(paste0(place, "/geometric_mean_ratio"), exp(mean(changes[[k]])))
  }
}
